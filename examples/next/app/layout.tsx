import type { Metadata } from "next";
import type { ReactNode } from "react";
import { Carillon } from "./carillon";

export const metadata: Metadata = { title: "Carillon" };

export default function Layout({ children }: { children: ReactNode }) {
  return <html lang="en"><body><Carillon>{children}</Carillon></body></html>;
}
