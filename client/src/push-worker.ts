// The service worker, as one classic script: an application serves it from its own origin, or imports it into its own
// worker. Anywhere else it does nothing.

import type { WorkerScope } from "./push/scope.js";
import { serve } from "./push/worker.js";

if ("clients" in globalThis && "registration" in globalThis) serve(globalThis as unknown as WorkerScope);
