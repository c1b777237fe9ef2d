/** Authorities for tests: one whose certificate is at hand without making it, and real ones with their keys. */
import {
  createAuthorityCertificate,
  createKey,
  openAuthority,
  pinOf,
  readCertificate,
  type Authority,
} from "../../cluster/src/trust/authority.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";

const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIB/zCCAaWgAwIBAgIQYZnX82PWAh9EP0SoFM8g6DAKBggqhkjOPQQDAjBeMUEw
PwYDVQQDEzhVQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB
QUFBQUFBQUFBQUFBQUFBQTEZMBcGA1UEChMQb3BlbmNsYXctY2x1c3RlcjAeFw0y
NjAxMDEwMDAwMDBaFw00NjAxMDIwMDAwMDBaMF4xQTA/BgNVBAMTOFVBQUFBQUFB
QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB
MRkwFwYDVQQKExBvcGVuY2xhdy1jbHVzdGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEWXCdsjbDx85dJMg8BOHD9VdnAgiUbfFYQ1mUu9QtrP5zXIgMFB17aBkg
HaQDVydr5eiqo6NmLvmbWJUYfSC7eaNFMEMwEgYDVR0TAQH/BAgwBgEB/wIBADAO
BgNVHQ8BAf8EBAMCAQYwHQYDVR0OBBYEFGaK/If4eF6lihQPyPZRc4e3x126MAoG
CCqGSM49BAMCA0gAMEUCIQCcUEfw915KEkE3+CsdYK+YhZaDUpFGVDHFyJtegJTw
bQIgPc0F38vFMELyG95GCHy3oYIXl6xx3k+cBVazliEf/38=
-----END CERTIFICATE-----
`;

/** Its key was thrown away: it certifies nothing. */
export const AUTHORITY = {
  certificate: CERTIFICATE,
  pin: pinOf(readCertificate(CERTIFICATE) as NonNullable<ReturnType<typeof readCertificate>>),
};

export function makeAuthority(now = Date.now()): Authority {
  const [key, coordinatorKey] = [createKey(), createNodeKeys().publicKey];
  const certificate = createAuthorityCertificate(key, coordinatorKey, now);
  return openAuthority({ key, certificate, coordinatorKey, files: { key: "authority.key", certificate: "authority.pem" } });
}
