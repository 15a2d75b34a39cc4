// Reads a JSON array of answers from standard input, each with its header, an
// object of name to values, and its page, and writes what the Observatory gives
// a site that sends them.
import path from "node:path";
import { createRequire } from "node:module";
import { Requests, judge } from "./rules.mjs";

const require = createRequire(path.resolve(process.env.JUDGES ?? ".", "x.js"));
const { CookieJar } = require("tough-cookie");

let text = "";
for await (const chunk of process.stdin) text += chunk;

// As axios presents them: names in lower case, repetitions joined, cookies apart.
class Headers {
  constructor(set) {
    for (const [name, values] of Object.entries(set)) {
      this[name.toLowerCase()] = name.toLowerCase() === "set-cookie" ? values : values.join(", ");
    }
    Object.defineProperty(this, "get", { value: (name) => this[name.toLowerCase()] });
  }
}

const out = JSON.parse(text).map(({ header: set, page }) => {
  const url = new URL("https://app.example/");
  const jar = new CookieJar();
  for (const c of set["Set-Cookie"] ?? []) jar.setCookieSync(c, url.href, { ignoreError: true });
  const response = { headers: new Headers(set), verified: true, status: 200, request: { headers: { origin: "https://evil.example" } } };
  const r = new Requests("app.example");
  r.session = { url, jar };
  r.resources.path = page ?? "";
  Object.assign(r.responses, {
    auto: response, https: response, cors: response, http: { ...response },
    httpRedirects: [{ url: new URL("http://app.example/"), status: 308 }, { url, status: 200 }], httpsRedirects: [],
  });
  return judge(r);
});
process.stdout.write(JSON.stringify(out));
