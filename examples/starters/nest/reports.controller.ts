import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Body, Controller, Get, Header, HttpCode, Inject, Param, Post, Req, Res } from "@nestjs/common";
import { Lovage, states } from "lovage";
import { sendResultEvents } from "lovage/web";
import { build } from "./tasks.ts";

const page = readFileSync(new URL("page.html", import.meta.url), "utf8");

@Controller()
export class ReportsController {
  constructor(@Inject(Lovage) private readonly app: Lovage) {}

  @Get()
  @Header("content-type", "text/html")
  page(): string {
    return page;
  }

  /** Sends: the answer is there as soon as the queue has the task. */
  @Post("reports")
  @HttpCode(202)
  async order(@Body() { customer, pages = 5 }: { customer: string; pages?: number }): Promise<{ id: string }> {
    const { id } = await build.delay(customer, pages);
    return { id };
  }

  /** Reads. An id that nobody knows is PENDING. */
  @Get("reports/:id")
  async read(@Param("id") id: string): Promise<{ state: string; result?: unknown; error?: string }> {
    const result = this.app.result(id);
    const state = await result.state();
    const value = states.isReady(state) ? await result.result() : undefined;
    return value instanceof Error ? { state, error: value.message } : { state, result: value };
  }

  /** Pushes what the task writes, as Server-Sent Events. */
  @Get("reports/:id/events")
  events(@Req() request: IncomingMessage, @Res() response: ServerResponse, @Param("id") id: string): Promise<void> {
    return sendResultEvents(request, response, this.app.result(id));
  }
}
