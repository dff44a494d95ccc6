/** Tasks that have killed workers run each in a process of its own: if it dies, it takes nobody along. */
import { fork } from "node:child_process";
import type { Delivery } from "../brokers/broker.ts";
import type { Log } from "../workers/log.ts";
import type { Apart, ApartEnd } from "../workers/pool.ts";
import { reportIn } from "./line.ts";
import { childArgv, killGroup, LAUNCHER, type Order, type Report } from "./supervise.ts";

export interface ApartProcesses extends Apart {
  /** Tells those that run what this process was told. */
  order(order: Order): void;
}

/** Starts `lovage child suspect <options>` for each. */
export function apartBy(options: object, log: Log): ApartProcesses {
  const orders = new Set<(order: Order) => void>();

  function run(delivery: Delivery, taken: () => void): Promise<ApartEnd> {
    const { promise, resolve } = Promise.withResolvers<ApartEnd>();
    // In a group of its own: what it has started ends with it, and nothing else.
    const child = fork(LAUNCHER, ["child", "suspect", JSON.stringify(options)], {
      detached: true,
      execArgv: childArgv(),
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    let claim: (ApartEnd & { readonly type: "died" })["claim"];
    let isGiven = false;
    let isTold = false;
    let last: Report | undefined;
    const tell = (order: Order) => {
      isTold = true;
      // What was given nothing has nothing to hand back.
      if (isGiven && child.connected) child.send(order);
      else child.kill("SIGKILL");
    };
    orders.add(tell);
    child.on("message", (message) => {
      const report = reportIn<Report>(message);
      if (report === undefined) return;
      last = report;
      if (typeof last === "object") claim = "claim" in last ? last.claim : undefined;
      else if (last === "ready" && !isTold) {
        isGiven = true;
        child.send({ only: delivery });
      } else if (last === "taken") taken();
    });
    const end = (how: string) => {
      orders.delete(tell);
      killGroup(child.pid);
      if (last === "stopped") return resolve({ type: "ended" });
      if (isTold) return resolve({ type: "stopped" });
      log(
        "error",
        `The process of its own, pid:${child.pid}, that ran message ${delivery.messageId} of ${delivery.queue} exited with '${how}'`,
      );
      // It could not even load the app: that is nothing that the message did.
      if (last === undefined) return resolve({ type: "stopped" });
      resolve({ type: "died", claim });
    };
    child.once("exit", (code, signal) => end(signal === null ? `exitcode ${code}` : `signal ${signal}`));
    child.once("error", (error) => {
      if (child.pid === undefined) end(error.message);
    });
    return promise;
  }

  return {
    run,
    order: (order) => {
      for (const tell of orders) tell(order);
    },
  };
}
