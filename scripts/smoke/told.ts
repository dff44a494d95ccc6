/** A function's handler that tells, after each invocation, what the function has sent in it. */
import { app } from "./tasks.ts";
import { startRecorder, type Told } from "./recorder.ts";

type Handler<Event, Context, Answer> = (event: Event, context: Context) => Promise<Answer>;

export function told<Event, Context, Answer>(handle: Handler<Event, Context, Answer>): Handler<Event, Context, Answer> {
  const recorder = startRecorder();
  const tell = async (ms: number) => {
    const one: Told = {
      by: process.env["AWS_LAMBDA_FUNCTION_NAME"] ?? "",
      ms,
      memory: Number(process.env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] ?? 0),
      sent: recorder.take(),
    };
    const broker = await app.engine.broker();
    const [refused] = await broker.send([{ queue: "requests", body: JSON.stringify(one) }]);
    if (refused !== undefined) throw refused;
  };
  return async (event, context) => {
    const started = performance.now();
    try {
      return await handle(event, context);
    } finally {
      await tell(performance.now() - started);
    }
  };
}
