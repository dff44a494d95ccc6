import { states } from "lovage";
import { app } from "../../../tasks.ts";

interface Context {
  readonly params: Promise<{ readonly id: string }>;
}

/** Reads. An id that nobody knows is PENDING. */
export async function GET(_request: Request, { params }: Context): Promise<Response> {
  const result = app.result((await params).id);
  const state = await result.state();
  if (!states.isReady(state)) return Response.json({ state });
  const value = await result.result();
  return Response.json(value instanceof Error ? { state, error: value.message } : { state, result: value });
}
