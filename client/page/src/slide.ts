// The same motion as in the inbox, for the other lists of the page.

export { useSlide } from "../../src/ui/slide.js";
