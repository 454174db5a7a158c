// A field for a user id: Enter adds the user to a group. It suggests the users who appear in the chats.

import { type ReactElement, type RefObject, useId } from "react";
import { useGroupLabels } from "./groups.js";
import { userName, useSetup } from "./setup.js";

interface PersonFieldProps {
  readonly field: RefObject<HTMLInputElement | null>;
  readonly text: string;
  readonly suggestions: readonly string[];
  readonly onChange: (text: string) => void;
  readonly onAdd: () => void;
}

export function PersonField(props: PersonFieldProps): ReactElement {
  const { field, text, suggestions, onChange, onAdd } = props;
  const setup = useSetup();
  const labels = useGroupLabels();
  const id = useId();
  const isEmpty = text.trim() === "";
  const add = (): void => {
    if (!isEmpty) onAdd();
    field.current?.focus();
  };
  return (
    <div className="carillon-field">
      <label htmlFor={id}>{labels.person}</label>
      <input
        ref={field}
        id={id}
        list={`${id}list`}
        value={text}
        maxLength={256}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        onChange={({ target }) => onChange(target.value)}
        onKeyDown={(event) => {
          // While an input method composes, Enter chooses a word. In an empty field it submits the form, if there is one.
          if (event.key !== "Enter" || event.nativeEvent.isComposing || isEmpty) return;
          event.preventDefault();
          add();
        }}
      />
      <datalist id={`${id}list`}>
        {suggestions.map((userId) => {
          const name = userName(setup, userId);
          return <option key={userId} value={userId} label={name === userId ? undefined : name} />;
        })}
      </datalist>
      <button type="button" className="carillon-button" data-outlined aria-disabled={isEmpty} onClick={add}>
        {labels.add}
      </button>
    </div>
  );
}
