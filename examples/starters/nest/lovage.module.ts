import { type DynamicModule, Inject, Module, type OnApplicationShutdown } from "@nestjs/common";
import { ModuleRef } from "@nestjs/core";
import { Lovage } from "lovage";
import { useContainer } from "./inject.ts";

/** Makes the app a provider, `@Inject(Lovage)`, and Nest's providers known to tasks. */
@Module({})
export class LovageModule implements OnApplicationShutdown {
  static forRoot(app: Lovage): DynamicModule {
    return { module: LovageModule, global: true, providers: [{ provide: Lovage, useValue: app }], exports: [Lovage] };
  }

  constructor(
    @Inject(ModuleRef) ref: ModuleRef,
    @Inject(Lovage) private readonly app: Lovage,
  ) {
    useContainer(ref);
  }

  async onApplicationShutdown(): Promise<void> {
    useContainer(undefined);
    await this.app.close();
  }
}
