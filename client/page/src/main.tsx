// Puts the page into the document.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.js";

const place = document.getElementById("page");
if (!place) throw new Error("the document has no element #page");
createRoot(place).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
