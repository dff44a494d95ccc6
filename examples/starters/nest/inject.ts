/** Nest's providers for tasks. */
import type { ModuleRef } from "@nestjs/core";

let container: ModuleRef | undefined;

/** Where `inject` looks from now on: said by LovageModule, in a server, in a worker and in a test. */
export const useContainer = (ref: ModuleRef | undefined): void => {
  container = ref;
};

let starting: Promise<unknown> | undefined;

/** The provider of this class. In a process that has no Nest application, as a worker's, one without a server is made at the first use. */
export async function inject<T>(token: abstract new (...args: never[]) => T): Promise<T> {
  if (container === undefined) {
    starting ??= startContext();
    await starting;
  }
  if (container === undefined) throw new Error("AppModule does not import LovageModule.forRoot(app)");
  return container.get<T>(token as never, { strict: false });
}

async function startContext(): Promise<void> {
  const [{ NestFactory }, { AppModule }, { app }] = await Promise.all([
    import("@nestjs/core"),
    import("./app.module.ts"),
    import("./tasks.ts"),
  ]);
  const context = await NestFactory.createApplicationContext(AppModule, { logger: ["error", "warn"] });
  // The worker ends: connections that providers hold are closed with it.
  app.on("workerShutdown", () => context.close());
}
