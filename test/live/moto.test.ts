/**
 * The contracts of backend and journal on moto's server, whose conditions and updates are a third reading of AWS's pages. Its PartiQL ends
 * at the first INSERT with parameters, so it is answered as if there were none: each row is written by itself, as for a role
 * that may not share.
 */
import { backendOn, journalOn } from "./adapters.ts";
import { emulator } from "./emulators.ts";

const moto = await emulator("moto");

backendOn("moto", moto, { isWithoutPartiql: true, runs: 5 });
journalOn("moto", moto, { isWithoutPartiql: true });
