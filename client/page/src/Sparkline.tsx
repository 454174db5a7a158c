// A small chart of the last values. It is hidden from screen readers, because the number next to it says enough.

import type { ReactElement } from "react";

const WIDTH = 120;
const HEIGHT = 32;
const INSET = 2;

interface SparklineProps {
  values: readonly number[];
  /** The number of values that fill the width. Fewer are aligned to the right, where the present is. */
  capacity: number;
  kind?: "line" | "bars";
}

export function Sparkline({ values, capacity, kind = "line" }: SparklineProps): ReactElement {
  // Some space above, so that a steady value is a line in the chart and not its edge.
  const top = 1.2 * Math.max(1, ...values);
  const step = WIDTH / (capacity - 1);
  const x = (n: number): number => WIDTH - (values.length - 1 - n) * step;
  const y = (value: number): number => HEIGHT - INSET - (value / top) * (HEIGHT - 2 * INSET);
  const points = values.map((value, n) => `${x(n).toFixed(1)} ${y(value).toFixed(1)}`);
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      <path className="spark-base" d={`M0 ${HEIGHT - INSET / 2}H${WIDTH}`} />
      {kind === "bars" ? (
        <path
          className="spark-bars"
          d={values
            .map((value, n) => (value > 0 ? `M${x(n).toFixed(1)} ${HEIGHT - 1}V${y(value).toFixed(1)}` : ""))
            .join("")}
        />
      ) : (
        points.length > 1 && (
          <>
            <path className="spark-area" d={`M${x(0).toFixed(1)} ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z`} />
            <path className="spark-line" d={`M${points.join("L")}`} />
          </>
        )
      )}
    </svg>
  );
}
