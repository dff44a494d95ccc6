"use client";
import { useState } from "react";

export default function Page() {
  const [page, setPage] = useState(0);
  const [said, setSaid] = useState("");

  async function order(form: FormData) {
    const order = { customer: form.get("customer"), pages: 5 };
    const sent = await fetch("/reports", { method: "POST", body: JSON.stringify(order) });
    const { id } = (await sent.json()) as { id: string };
    const events = new EventSource(`/reports/${id}/events`);
    events.addEventListener("restart", () => setPage(0));
    events.addEventListener("chunk", ({ data }) => setPage((JSON.parse(data) as { page: number }).page));
    for (const end of ["result", "failure"]) {
      events.addEventListener(end, ({ data }: MessageEvent<string>) => {
        setSaid(`${end}: ${data}`);
        events.close();
      });
    }
  }

  return (
    <main>
      <h1>Reports</h1>
      <form action={order}>
        <label>
          Customer <input name="customer" defaultValue="Ada" required />
        </label>{" "}
        <button type="submit">Build</button>
      </form>
      <progress max={5} value={page} />
      <pre>{said}</pre>
    </main>
  );
}
