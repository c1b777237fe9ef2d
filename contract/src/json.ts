/** Any JSON value, as payloads and results carry it. */
import { z } from "zod";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export const Json: z.ZodType<Json> = z.json() as z.ZodType<Json>;
