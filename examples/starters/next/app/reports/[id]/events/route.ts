import { resultEvents } from "lovage/web";
import { app } from "../../../../tasks.ts";

interface Context {
  readonly params: Promise<{ readonly id: string }>;
}

/** Pushes what the task writes, as Server-Sent Events. */
export async function GET(request: Request, { params }: Context): Promise<Response> {
  return resultEvents(request, app.result((await params).id));
}
