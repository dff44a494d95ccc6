/** A Worker that calls tasks, as a user would write it. What it is to do is the path of the request. */
import { Lovage } from "lovage";
import type { Tasks } from "./tasks.ts";

interface Env {
  readonly BROKER_URL: string;
  readonly RESULT_BACKEND: string;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const app = new Lovage("edge", { brokerUrl: env.BROKER_URL, resultBackend: env.RESULT_BACKEND });
    const add = app.taskRef<Tasks["add"]>("tasks.add");
    const fail = app.taskRef<Tasks["fail"]>("tasks.fail");
    try {
      switch (new URL(request.url).pathname) {
        case "/add":
          return Response.json(await (await add.delay(1, 2)).get({ timeout: 60 }));
        case "/many": {
          const sent = await Promise.all(Array.from({ length: 12 }, (_, n) => add.delay(n, n)));
          return Response.json(await Promise.all(sent.map((result) => result.get({ timeout: 60 }))));
        }
        case "/fail":
          return Response.json(await (await fail.delay()).get({ timeout: 60 }));
        case "/revoke": {
          const result = await add.applyAsync([1, 2], { countdown: 600 });
          await result.revoke();
          return Response.json(await result.state());
        }
        case "/compressed":
          return Response.json(await (await add.applyAsync([3, 4], { compression: "gzip" })).get({ timeout: 60 }));
        case "/embedded":
          await new Lovage("edge", { brokerUrl: "sqlite://" }).sendTask("tasks.add");
          return new Response("sent");
        case "/schedule":
          await app.beat.put("later", { task: add.name, schedule: 60, options: { queue: "celery" } });
          return new Response("put");
        case "/here":
          app.task("tasks.here", () => 1);
          await app.applyEagerly("tasks.here");
          return new Response("ran");
        default:
          return new Response("what?", { status: 404 });
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return Response.json({ ...error, name: error.name, message: error.message }, { status: 500 });
    }
  },
};
