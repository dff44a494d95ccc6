/** Settings in a module of their own. The names are Celery's old ones; its new ones and Lovage's own do as well. */
import { crontab } from "lovage";

export const CELERY_TIMEZONE = "Asia/Shanghai";

export const CELERY_QUEUES = {
  celery: {},
  task_add_queue: { exchange: "task_add", routing_key: "task_add" },
  task_multiply_queue: { exchange: "task_multiply", routing_key: "task_multiply" },
};

export const CELERY_ROUTES = {
  "tasks.add": { exchange: "task_add", routing_key: "task_add" },
  "tasks.multiply": { exchange: "task_multiply", routing_key: "task_multiply" },
};

/** Beside its result, a row tells of the task's name, arguments, queue and worker. */
export const CELERY_RESULT_EXTENDED = true;

export const CELERYBEAT_SCHEDULE = {
  "add-every-30-seconds": { task: "tasks.add", schedule: 30, args: [16, 16] },
  "multiply-at-09:10": { task: "tasks.multiply", schedule: crontab({ hour: 9, minute: 10 }), args: [3, 7] },
  "greet-every-5-seconds": { task: "tasks.greet", schedule: 5, args: ["beat"] },
};
