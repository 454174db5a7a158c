// Pauses that can be cut short, all at once.

export interface Pause {
  /** Resolves after so long, or when woken. */
  for(ms: number): Promise<void>;
  wake(): void;
}

export function createPause(): Pause {
  const sleepers = new Set<() => void>();
  return {
    for: (ms) =>
      new Promise((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          sleepers.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, ms);
        sleepers.add(wake);
      }),
    wake() {
      for (const wake of sleepers) wake();
    },
  };
}
