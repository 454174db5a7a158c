// The notification being traced, and the notification ids of this page's own sends, which the history does not contain.

import { createContext, type ReactElement, type ReactNode, useCallback, useContext, useMemo, useState } from "react";

/** A notification of one of this page's sends. */
export interface Traceable {
  readonly userId: string;
  readonly id: string;
}

interface Tracing {
  /** The notification being traced. `requests` grows each time a trace is requested. */
  readonly traced: { readonly id: string; readonly requests: number } | null;
  readonly trace: (id: string) => void;
  /** The notifications of this page's sends, by send id. */
  readonly traceable: ReadonlyMap<string, readonly Traceable[]>;
  readonly remember: (sendId: string, notifications: readonly Traceable[]) => void;
}

const Context = createContext<Tracing | null>(null);

export function TraceProvider({ children }: { children: ReactNode }): ReactElement {
  const [traced, setTraced] = useState<Tracing["traced"]>(null);
  const [traceable, setTraceable] = useState<Tracing["traceable"]>(new Map());
  const trace = useCallback((id: string) => {
    setTraced((last) => ({ id, requests: (last?.requests ?? 0) + 1 }));
  }, []);
  const remember = useCallback(
    (sendId: string, notifications: readonly Traceable[]) =>
      setTraceable((last) => new Map(last).set(sendId, notifications)),
    [],
  );
  const tracing = useMemo(() => ({ traced, trace, traceable, remember }), [traced, trace, traceable, remember]);
  return <Context.Provider value={tracing}>{children}</Context.Provider>;
}

export function useTracing(): Tracing {
  const tracing = useContext(Context);
  if (!tracing) throw new Error("no TraceProvider above this component");
  return tracing;
}
