/** The function that the shop had before: it now sends a task in place of the work. */
import { ship } from "./tasks.ts";

interface Request {
  readonly rawPath: string;
}

export const handler = async ({ rawPath }: Request) => {
  const order = rawPath.slice(1);
  const { id } = await ship.applyAsync([order], { MessageGroupId: order });
  return { statusCode: 202, body: JSON.stringify({ id }) };
};
