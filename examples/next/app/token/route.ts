import { tokenOf } from "../gateway";

// A real application takes the user from its session; this example always signs in alice.
export const GET = async () => new Response(await tokenOf("alice"));
export const dynamic = "force-dynamic";
