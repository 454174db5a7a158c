// The icons of the page. They are hidden from screen readers, so each needs text or a label on its parent.

import type { ReactElement, ReactNode } from "react";

function icon(children: ReactNode): () => ReactElement {
  return () => (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const BellIcon = icon(
  <path d="M10 2.5c-3 0-5 2.3-5 5.2v2.8L3.6 13.2c-.2.5.1 1 .6 1h11.6c.5 0 .8-.5.6-1L15 10.5V7.7c0-2.9-2-5.2-5-5.2ZM8 16.6a2 2 0 0 0 4 0" />,
);
export const CheckIcon = icon(<path d="m4.5 10.5 3.5 3.5 7.5-8" />);
export const CheckAllIcon = icon(<path d="m2.5 10.5 3.5 3.5 7-8M10.5 13l1 1 7-8" />);
export const UnreadIcon = icon(
  <>
    <circle cx="10" cy="10" r="6.5" />
    <circle className="filled" cx="10" cy="10" r="2.5" />
  </>,
);
export const DeleteIcon = icon(<path d="M4 5.5h12M8 5.5V3.8h4v1.7M5.5 5.5l.7 10.7h7.6l.7-10.7M8.5 8.5v5M11.5 8.5v5" />);
export const TraceIcon = icon(
  <path d="M5.5 5.5v9M5.5 5.5a1.7 1.7 0 1 0 0-.1M5.5 16.2a1.7 1.7 0 1 0 0-.1M10 5h6M10 10h4M10 15h6M5.5 10H8" />,
);
export const CloseIcon = icon(<path d="m5 5 10 10M15 5 5 15" />);
export const RefreshIcon = icon(<path d="M15.8 8.5A6 6 0 1 0 16 11M16 4.5v4h-4" />);
export const SendIcon = icon(<path d="M17 3 9 11M17 3l-5 14-3-6-6-3 14-5Z" />);
export const WarnIcon = icon(<path d="M10 3 2.5 16.5h15L10 3ZM10 8.2v4M10 14.4v.1" />);
export const OfflineIcon = icon(
  <path d="m3 3 14 14M6.5 8.5c.6-.4 1.2-.7 1.9-.9M12.3 7.8a6 6 0 0 1 1.9 1.2M3.8 6.8l1-.7M8.5 4.9a10 10 0 0 1 7.7 1.9M8.3 11.9a3 3 0 0 1 3.6.3M10 15.2v.1" />,
);
export const EmptyIcon = icon(<path d="M3 11.5 5.5 4h9l2.5 7.5V16H3v-4.5Zm0 0h4l1 2h4l1-2h4" />);
export const ArrowIcon = icon(<path d="M6 14 14 6M7.5 6H14v6.5" />);
