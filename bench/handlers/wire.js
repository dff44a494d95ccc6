/**
 * Takes the network out of a process: whatever the SDK sends is answered at once with success, by objects in memory. What
 * remains is what the SDK and its user do. Import it before anything that imports `node:http`.
 */
import { EventEmitter } from "node:events";
import http from "node:http";
import https from "node:https";
import { syncBuiltinESMExports } from "node:module";
import { Readable } from "node:stream";

export const requests = { count: 0 };

/** Statements are refused, as by a role without PartiQL: what would be one request is then one for each of them. */
const REFUSES = process.env.BENCH_STATEMENTS === "refused";
const REFUSAL = JSON.stringify({ __type: "com.amazon.coral.service#AccessDeniedException", message: "not here" });

class FakeRequest extends EventEmitter {
  #answer;
  #chunks = [];
  #target;
  constructor({ headers = {} }, answer) {
    super();
    this.#answer = answer;
    this.#target = String(headers["x-amz-target"] ?? headers["X-Amz-Target"] ?? "");
  }
  setTimeout() {
    return this;
  }
  setNoDelay() {}
  setSocketKeepAlive() {}
  destroy() {}
  setHeader() {}
  getHeader() {}
  write(chunk) {
    this.#chunks.push(chunk);
    return true;
  }
  end(chunk) {
    if (chunk !== undefined) this.#chunks.push(chunk);
    requests.count++;
    const isBatch = this.#target.endsWith("BatchExecuteStatement");
    const text = isBatch ? (REFUSES ? REFUSAL : answerAll(this.#chunks)) : "{}";
    const response = Readable.from([Buffer.from(text)], { objectMode: false });
    response.statusCode = isBatch && REFUSES ? 400 : 200;
    response.headers = { "content-type": "application/x-amz-json-1.0", "content-length": String(text.length) };
    setImmediate(() => this.#answer(response));
    return this;
  }
}

/** Each statement of a batch has an answer of its own. They are counted, not read: that would be the service's work. */
function answerAll(chunks) {
  const body = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)));
  let count = 0;
  for (let at = body.indexOf(STATEMENT); at !== -1; at = body.indexOf(STATEMENT, at + 1)) count++;
  return JSON.stringify({ Responses: Array.from({ length: count }, () => ({ TableName: "results" })) });
}

const STATEMENT = Buffer.from('"Statement":');

// A URL may stand before the options.
for (const module of [http, https]) module.request = (...given) => new FakeRequest(...given.slice(-2));
syncBuiltinESMExports();
