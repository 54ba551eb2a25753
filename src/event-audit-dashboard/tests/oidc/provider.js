// An OpenID provider with PKCE and back-channel logout, for tests. Any login name is an account.
// Arguments: port, redirect URI, URI of the back-channel logout.
import { Provider } from "oidc-provider";

const [port, redirectUri, logoutUri] = process.argv.slice(2);
const groups = { alice: ["security"], carol: ["security", "platform"], mallory: ["guests"], admin: ["platform"] };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "auditflow",
    client_secret: "secret-of-the-tests",
    redirect_uris: [redirectUri],
    backchannel_logout_uri: logoutUri,
    backchannel_logout_session_required: true,
  }],
  claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
  scopes: ["openid", "profile", "groups"],
  cookies: { keys: ["not-secret"] },
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  // The default refuses loopback addresses, and the dashboard of the test has one.
  fetch: (url, { signal, headers, method, body }) => fetch(url, { signal, headers, method, body }),
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
