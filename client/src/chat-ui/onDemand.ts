// The parts of the chats that few users open. They are loaded when they are first needed.

export { DeletedChats } from "./DeletedChats.js";
export { GroupDetails } from "./GroupDetails.js";
export { NewGroup } from "./NewGroup.js";
