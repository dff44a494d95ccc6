import { build } from "../../tasks.ts";

/** Sends: the answer is there as soon as the queue has the task. */
export async function POST(request: Request): Promise<Response> {
  const { customer, pages = 5 } = (await request.json()) as { customer: string; pages?: number };
  const { id } = await build.delay(customer, pages);
  return Response.json({ id }, { status: 202, headers: { location: `/reports/${id}` } });
}
