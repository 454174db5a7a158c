// The user's preferences: push on this device, what rings, quiet hours, and the chats that are muted.

/// <reference path="./css.d.ts" />

import { type ReactElement, type ReactNode, useId } from "react";
import { usePreferences, usePush } from "../hooks.js";
import type { QuietHours, UserPreferences } from "../preferences.js";
import type { PushOptions, PushState } from "../types.js";
import { Failure } from "./Failure.js";
import { named } from "./format.js";
import { completePreferences, type PreferenceLabels } from "./preferenceLabels.js";
import css from "./preferences.css?inline";
import { stylesOf, useStyles } from "./styles.js";

/** A type of notification, as the user knows it. */
export interface PreferenceType {
  readonly type: string;
  readonly label: string;
}

/** The props of `<Preferences/>`. */
export interface PreferencesProps {
  readonly labels?: Partial<PreferenceLabels> | undefined;
  /** The types to list. All others share one line, and one line each if the user has set them apart. */
  readonly types?: readonly PreferenceType[];
  /** How push is turned on. `null` leaves out this device. */
  readonly push?: PushOptions | null;
  /** The name of a chat. Default: its id. */
  readonly nameOf?: (chatId: string) => string;
  readonly id?: string;
  readonly className?: string;
}

const usePreferenceStyles: () => void = /* @__PURE__ */ stylesOf(css, "--carillon-preference-styles");

/** The time at which people sleep. */
const NIGHT = { from: "22:00", to: "07:00" };

export function Preferences(props: PreferencesProps): ReactElement {
  const { types = [], push = {}, nameOf = (chatId) => chatId, id, className } = props;
  useStyles();
  usePreferenceStyles();
  const title = useId();
  const labels = completePreferences(props.labels);
  const { preferences, loading, error, dismissError, ...acts } = usePreferences();
  const listed = new Set(types.map(({ type }) => type));
  const others = Object.keys(preferences?.types ?? {}).filter((type) => type !== "*" && !listed.has(type));
  const rows = [
    ...types,
    ...others.map((type): PreferenceType => ({ type, label: type })),
    { type: "*", label: labels.others },
  ];
  const muted = Object.keys(preferences?.mutedChats ?? {}).filter(acts.isMuted);
  return (
    <section
      id={id}
      className={className ? `carillon-preferences ${className}` : "carillon-preferences"}
      aria-labelledby={title}
      aria-busy={loading}
    >
      <h2 id={title}>{labels.title}</h2>
      {push && <ThisDevice labels={labels} options={push} />}
      {loading && <p>{labels.loading}</p>}
      {preferences && (
        <>
          <Group name={labels.types}>
            {rows.map((row) => (
              <Type key={row.type} {...row} labels={labels} acts={acts} />
            ))}
          </Group>
          <Quiet labels={labels} quietHours={preferences.quietHours} onChange={acts.setQuietHours} />
          {muted.length > 0 && (
            <Group name={labels.muted}>
              {muted.map((chatId) => (
                <p key={chatId}>
                  <bdi>{nameOf(chatId)}</bdi>
                  <button
                    type="button"
                    className="carillon-button"
                    aria-label={`${labels.unmute}: ${named(nameOf(chatId))}`}
                    onClick={() => void acts.unmute(chatId)}
                  >
                    {labels.unmute}
                  </button>
                </p>
              ))}
            </Group>
          )}
        </>
      )}
      <Failure labels={labels} error={error} onDismiss={dismissError} />
    </section>
  );
}

function Group({ name, children }: { name: string; children: ReactNode }): ReactElement {
  return (
    <fieldset>
      <legend>{name}</legend>
      {children}
    </fieldset>
  );
}

interface CheckProps {
  readonly label: ReactNode;
  readonly checked: boolean;
  readonly disabled?: boolean;
  readonly describedBy?: string | undefined;
  readonly onChange: (checked: boolean) => void;
}

function Check({ label, checked, disabled = false, describedBy, onChange }: CheckProps): ReactElement {
  return (
    <label>
      <input
        type="checkbox"
        checked={checked}
        aria-disabled={disabled}
        aria-describedby={describedBy}
        onChange={({ target }) => !disabled && onChange(target.checked)}
      />
      {label}
    </label>
  );
}

/** Why this browser cannot be turned on. */
function hindrance({ status, reason }: PushState, labels: PreferenceLabels): string | null {
  if (status === "denied") return labels.denied;
  if (status !== "unsupported") return null;
  return reason === "browser" || reason === null ? labels.unsupported : labels[reason];
}

function ThisDevice({ labels, options }: { labels: PreferenceLabels; options: PushOptions }): ReactNode {
  const id = useId();
  const { enable, disable, ...state } = usePush();
  const { status, busy, error } = state;
  if (status === "unavailable") return null;
  const note = hindrance(state, labels) ?? (error && `${labels.failed} ${error.code}`);
  return (
    <Group name={labels.device}>
      <Check
        label={labels.deviceOn}
        checked={status === "on"}
        disabled={busy || !["on", "off"].includes(status)}
        describedBy={note ? id : undefined}
        // A refusal shows as the state's error.
        onChange={(isOn) => void (isOn ? enable(options) : disable())}
      />
      <p id={id} role="status">
        {note}
      </p>
    </Group>
  );
}

interface TypeProps extends PreferenceType {
  readonly labels: PreferenceLabels;
  readonly acts: Pick<UserPreferences, "isOn" | "setChannel">;
}

function Type({ type, label, labels, acts }: TypeProps): ReactElement {
  const id = useId();
  return (
    // biome-ignore lint/a11y/useSemanticElements: a line of a fieldset
    <div role="group" aria-labelledby={id}>
      <bdi id={id}>{label}</bdi>
      <span>
        {(["realtime", "push"] as const).map((channel) => (
          <Check
            key={channel}
            label={labels[channel]}
            checked={acts.isOn(type, channel)}
            onChange={(isOn) => void acts.setChannel(type, channel, isOn)}
          />
        ))}
      </span>
    </div>
  );
}

interface QuietProps {
  readonly labels: PreferenceLabels;
  readonly quietHours: QuietHours | null;
  readonly onChange: UserPreferences["setQuietHours"];
}

function Quiet({ labels, quietHours, onChange }: QuietProps): ReactElement {
  const zone = quietHours?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const set = (part: Partial<QuietHours>): void => {
    void onChange({ ...NIGHT, timeZone: zone, ...quietHours, ...part });
  };
  return (
    <Group name={labels.quiet}>
      <Check
        label={labels.quietOn}
        checked={quietHours !== null}
        onChange={(isOn) => (isOn ? set({}) : void onChange(null))}
      />
      {quietHours && (
        <>
          {(["from", "to"] as const).map((end) => (
            <label key={end}>
              {labels[end]}
              <input
                // Another value, from elsewhere, makes a new field.
                key={quietHours[end]}
                type="time"
                required
                defaultValue={quietHours[end]}
                onBlur={({ target: { value } }) => value !== "" && value !== quietHours[end] && set({ [end]: value })}
              />
            </label>
          ))}
          <p>{labels.quietHint.replace("{zone}", () => zone)}</p>
        </>
      )}
    </Group>
  );
}
