// The Observatory's own rules, table and grades, found in $JUDGES/node_modules.
// Its installation downloads two lists that are not needed here; empty ones
// take their place, so no host counts as preloaded.
import fs from "node:fs";
import path from "node:path";

const dir = path.resolve(process.env.JUDGES ?? ".", "node_modules/@mdn/mdn-http-observatory");
for (const [file, content] of [["hsts-preload.json", "{}"], ["tld-list.json", '["localhost"]']]) {
  const name = path.join(dir, "conf", file);
  fs.mkdirSync(path.dirname(name), { recursive: true });
  if (!fs.existsSync(name)) fs.writeFileSync(name, content);
}
export const { retrieve } = await import(path.join(dir, "src/retriever/retriever.js"));
export const { Requests } = await import(path.join(dir, "src/types.js"));
const { ALL_TESTS } = await import(path.join(dir, "src/constants.js"));
const { getScoreModifier } = await import(path.join(dir, "src/grader/grader.js"));

// judge runs every rule. Bonuses count from 90 points on only.
export function judge(requests) {
  let base = 100, all = 100;
  const results = {};
  for (const rule of ALL_TESTS) {
    const { result } = rule(requests);
    const modifier = getScoreModifier(result);
    results[result] = modifier;
    all += modifier;
    base += Math.min(modifier, 0);
  }
  return { score: Math.max(base >= 90 ? all : base, 0), results };
}
