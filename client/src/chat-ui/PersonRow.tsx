// One member of a group, or of one that is being created.

import type { ReactElement } from "react";
import { Sign } from "./Avatar.js";
import { useGroupLabels } from "./groups.js";
import { CloseIcon } from "./icons.js";
import { userName, useSetup } from "./setup.js";

interface PersonRowProps {
  readonly userId: string | null;
  readonly isOwner?: boolean;
  readonly online?: boolean | null | undefined;
  /** Whether the user is being added or removed. */
  readonly isBusy?: boolean;
  /** Without it the user cannot be removed. */
  readonly onRemove?: (() => void) | undefined;
}

export function PersonRow({ userId, isOwner, online, isBusy, onRemove }: PersonRowProps): ReactElement {
  const setup = useSetup();
  const labels = useGroupLabels();
  const name = userName(setup, userId);
  const isMe = userId !== null && userId === setup.me;
  return (
    <li className="carillon-person">
      <Sign of={userId ?? ""} name={name} online={online} />
      <span className="carillon-chat-about">
        <span className="carillon-chat-name">
          <bdi>{name}</bdi>
        </span>
        {(isMe || isOwner || isBusy) && (
          <span className="carillon-person-role">
            {[isMe && labels.you, isOwner && labels.owner, isBusy && labels.loading].filter(Boolean).join(", ")}
          </span>
        )}
      </span>
      {onRemove && (
        <button
          type="button"
          className="carillon-button"
          aria-label={`${labels.remove}: ${name}`}
          title={labels.remove}
          aria-disabled={isBusy}
          onClick={isBusy ? undefined : onRemove}
        >
          <CloseIcon />
        </button>
      )}
    </li>
  );
}
