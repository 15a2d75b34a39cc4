// Reads a JSON array of policies from standard input, and writes for each what
// Google's CSP Evaluator finds: [{severity, directive, text}].
import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(path.resolve(process.env.JUDGES ?? ".", "x.js"));
const { CspEvaluator, DEFAULT_CHECKS, STRICTCSP_CHECKS } = require("csp_evaluator/dist/evaluator.js");
const { CspParser } = require("csp_evaluator/dist/parser.js");
const { Severity } = require("csp_evaluator/dist/finding.js");
const { Version } = require("csp_evaluator/dist/csp.js");

let text = "";
for await (const chunk of process.stdin) text += chunk;
process.stdout.write(JSON.stringify(JSON.parse(text).map((policy) =>
  new CspEvaluator(new CspParser(policy).csp, Version.CSP3).evaluate(STRICTCSP_CHECKS, DEFAULT_CHECKS)
    .map((f) => ({ severity: Severity[f.severity], directive: f.directive, text: f.description })))));
