/** The same of a stack, which takes the CDK's types: `test/package/install.test.ts` compiles it by the newest compiler alone. */
import { Stack } from "aws-cdk-lib";
import { Lovage } from "lovage";
import { bundlingFor, loadApp, ResultTable, TaskQueues } from "lovage/cdk";

const app = new Lovage("exported");

export const bundling = bundlingFor(app);
export const loaded = () => loadApp("tasks.ts");
export class Shop extends Stack {
  readonly tasks = new TaskQueues(this, "Tasks", { app, entry: "worker.ts" });
  readonly celery = this.tasks.queue("celery");
  readonly mappings = this.celery.mappings;
  readonly service = this.celery.service;
  readonly parts = [this.tasks.beat, this.tasks.board, this.tasks.longDelays, this.tasks.payloads] as const;
  readonly tables = [this.tasks.table, this.tasks.journal] as const;
  readonly own = new ResultTable(this, "Own", { tableName: "own" });
  readonly granted = this.tasks.grantSend(this.celery);
}
