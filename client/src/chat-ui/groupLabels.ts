// The words of groups, apart from the others: a page loads the English ones only with the parts that use them.

/** The labels of groups. */
export interface GroupLabels {
  readonly titleOptional: string;
  readonly groupTitle: string;
  readonly save: string;
  /** Announced to screen readers, as `added` and `removed`. */
  readonly renamed: string;
  /** The field for the id of a user. */
  readonly person: string;
  readonly add: string;
  readonly added: string;
  readonly remove: string;
  readonly removed: string;
  readonly create: string;
  readonly owner: string;
  readonly moreMembers: string;
  readonly leave: string;
  /** Asks for a confirmation, which `leaveYes` gives. */
  readonly leaveAsk: string;
  readonly leaveYes: string;
  readonly cancel: string;
}

export const groupWords: GroupLabels = {
  titleOptional: "Title (optional)",
  groupTitle: "Title",
  save: "Save",
  renamed: "Title saved.",
  person: "Add a user ID",
  add: "Add",
  added: "{name} was added.",
  remove: "Remove",
  removed: "{name} was removed.",
  create: "Create group",
  owner: "Owner",
  moreMembers: "Show more",
  leave: "Leave group",
  leaveAsk: "Leave this group? To come back, a member has to add you.",
  leaveYes: "Leave",
  cancel: "Cancel",
};
