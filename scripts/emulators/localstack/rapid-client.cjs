/**
 * Stands in for `rapid-client.node`, the native part of aws-lambda-ric, which speaks to Lambda's runtime API: to build that
 * one takes cmake, make, a C++ compiler and two minutes of CPU. As there, an answer is sent and received when `done` or
 * `error` returns: a function that blocks or ends its process right after its answer has answered.
 */
const { readSync, writeSync } = require("node:fs");
const { Agent, get } = require("node:http");
const { connect } = require("node:net");
const { env } = require("node:process");

const INVOCATION = "/2018-06-01/runtime/invocation";
const host = env.AWS_LAMBDA_RUNTIME_API;
const agent = new Agent({ keepAlive: true });
const asleep = new Int32Array(new SharedArrayBuffer(4));

/** The connection for the answer to the invocation that is under way, made before a function gets to run. */
let line;

exports.next = async () => {
  const invocation = await receive();
  line?.destroy();
  line = await open();
  return invocation;
};

exports.done = (id, body) => post(`${INVOCATION}/${id}/response`, body);
// The third argument is for X-Ray, which nobody here collects.
exports.error = (id, body) => post(`${INVOCATION}/${id}/error`, body);

const receive = () =>
  new Promise((resolve, reject) => {
    get(`http://${host}${INVOCATION}/next`, { agent }, (response) => {
      let bodyJson = "";
      response.setEncoding("utf8").on("error", reject);
      response.on("data", (text) => {
        bodyJson += text;
      });
      response.on("end", () => resolve({ bodyJson, headers: response.headers }));
    }).on("error", reject);
  });

const open = () =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(`http://${host}`);
    const socket = connect(Number(port || 80), hostname, () => resolve(socket)).on("error", reject);
    // Node reads nothing of it, and does not stay alive for it.
    socket.pause().unref();
  });

function post(path, body) {
  // Nobody waits for a second answer.
  if (line === undefined) return;
  const { fd } = line._handle;
  const length = Buffer.byteLength(body);
  const head = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n`;
  const request = Buffer.from(`${head}Connection: close\r\n\r\n${body}`);
  for (let sent = 0; sent < request.length; ) sent += whenReady(() => writeSync(fd, request, sent));
  const reply = Buffer.alloc(1024);
  while (whenReady(() => readSync(fd, reply)) > 0);
  line.destroy();
  line = undefined;
}

/** The descriptor is one that never blocks: it says when it has no room yet, or no answer yet. */
function whenReady(act) {
  for (;;) {
    try {
      return act();
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(asleep, 0, 0, 1);
    }
  }
}
