/** What the server answers, as its own description says (`wire.d.ts`, which `make lint` makes from OpenAPI). */

import type { components, paths } from "./wire";

type Schemas = components["schemas"];
type Json<Path extends keyof paths> = paths[Path] extends { get: { responses: { 200: { content: { "application/json": infer A } } } } }
  ? A
  : never;

export type Noun = { [Path in keyof paths]: Path extends `/api/v1/${infer N}` ? N : never }[keyof paths];
export type Answer<N extends Noun> = `/api/v1/${N}` extends keyof paths ? Json<`/api/v1/${N}`> : never;
export type Row<Name extends keyof Schemas> = Schemas[Name];

export type State = Schemas["StateMessage"];
export type Delta = Schemas["DeltaMessage"];
export type Message = State | Delta | Schemas["ResetMessage"] | Schemas["RefusedMessage"];
export type Run = Schemas["RunRow"];
