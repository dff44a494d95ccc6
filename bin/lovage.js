#!/usr/bin/env node
// Written in syntax that old versions of Node read too, so that they can say what is the matter instead of failing on it.
var oldest = [22, 18];
var running = process.versions.node.split(".").map(Number);

if (running[0] < oldest[0] || (running[0] === oldest[0] && running[1] < oldest[1])) {
  console.error("lovage needs Node " + oldest.join(".") + " or newer; this is Node " + process.versions.node + ".");
  process.exit(1);
}

void import("node:fs").then(function (fs) {
  // The published package has no src: where there is one this is a checkout, which runs as it is written, never a stale build.
  var checkout = fs.existsSync(new URL("../src/cli/main.ts", import.meta.url));
  if (!checkout) return import("../dist/cli/main.js");
  return import("../scripts/source.ts").then(function () {
    return import("../src/cli/main.ts");
  });
});
