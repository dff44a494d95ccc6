import { setTimeout } from "node:timers/promises";
import { Injectable } from "@nestjs/common";

/** What a task uses: a service as any other of Nest's. */
@Injectable()
export class Printer {
  async print(customer: string, page: number): Promise<string> {
    await setTimeout(200); // stands for the work
    return `page ${page} for ${customer}`;
  }
}
