/** What the workers run that call a third party: one request a task, at the rate that `PARTY_RATE` says. */
import { Lovage } from "lovage";

const { PARTY_URL = "", PARTY_RATE = "100/m" } = process.env;

export const app = new Lovage("party", { brokerTransportOptions: { visibilityTimeout: 3 }, maxDeliveries: 50 });

app.task("party.push", { rateLimit: PARTY_RATE }, async (n: number) => {
  const answer = await fetch(`${PARTY_URL}/${n}`, { method: "PUT" });
  await answer.text();
  return answer.status;
});
