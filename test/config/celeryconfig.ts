/** A configuration module, as a user may have one. */
export function route_task(): string {
  return "media";
}
export const _note = "not a setting";
export const timezone = "Asia/Shanghai";
export const task_routes = [route_task];
