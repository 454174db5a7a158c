// Renders the page into the document.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.js";

const root = document.getElementById("page");
if (!root) throw new Error("the document has no element #page");
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
