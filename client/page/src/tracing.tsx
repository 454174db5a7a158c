// Which notification is traced, and which notifications this page's own sends made: the history names only sends.

import {
  createContext,
  type ReactElement,
  type ReactNode,
  useCallback,
  useContext,
  useMemo,
  useRef,
  useState,
} from "react";

/** One notification of a send of this page. */
export interface Made {
  readonly userId: string;
  readonly id: string;
}

interface Tracing {
  /** The notification in question; `nonce` grows with every wish to see it. */
  readonly traced: { readonly id: string; readonly nonce: number } | null;
  readonly trace: (id: string) => void;
  readonly madeBy: ReadonlyMap<string, readonly Made[]>;
  readonly remember: (sendId: string, made: readonly Made[]) => void;
}

const Context = createContext<Tracing | null>(null);

export function TraceProvider({ onTrace, children }: { onTrace: () => void; children: ReactNode }): ReactElement {
  const [traced, setTraced] = useState<Tracing["traced"]>(null);
  const [madeBy, setMadeBy] = useState<ReadonlyMap<string, readonly Made[]>>(new Map());
  const onTraceNow = useRef(onTrace);
  onTraceNow.current = onTrace;
  const trace = useCallback((id: string) => {
    onTraceNow.current();
    setTraced((last) => ({ id, nonce: (last?.nonce ?? 0) + 1 }));
  }, []);
  const remember = useCallback(
    (sendId: string, made: readonly Made[]) => setMadeBy((last) => new Map(last).set(sendId, made)),
    [],
  );
  const tracing = useMemo(() => ({ traced, trace, madeBy, remember }), [traced, trace, madeBy, remember]);
  return <Context.Provider value={tracing}>{children}</Context.Provider>;
}

export function useTracing(): Tracing {
  const tracing = useContext(Context);
  if (!tracing) throw new Error("no TraceProvider above this component");
  return tracing;
}
