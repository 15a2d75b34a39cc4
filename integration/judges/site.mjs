// usage: node site.mjs HOST HTTP_PORT HTTPS_PORT PATH
// Judges a running site; HTTP_PORT 0 means that nothing listens there.
import { retrieve, judge } from "./rules.mjs";

const [host, httpPort, httpsPort, path] = process.argv.slice(2);
const requests = await retrieve(host, { httpPort: Number(httpPort) || 1, httpsPort: Number(httpsPort), path });
if (!requests.responses.auto) {
  console.error("nothing answers");
  process.exit(2);
}
process.stdout.write(JSON.stringify(judge(requests)));
