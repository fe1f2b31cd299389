// An identity provider on loopback. Each line on stdin is a set of private keys: from then on it is a provider of
// these, at the same address; without any it serves nobody. On stdout it tells `{"issuer": …}` for each set, and `{"asked": path}` for each request.
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import Provider from 'oidc-provider'

console.info = console.error // its advice for earnest use; stdout is for what we tell
const told = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const scopes = 'vergeos:read vergeos:all'
const members = { ann: ['platform'], robot: [], nightly: ['night'] }

const client = (id, grants, more = {}) => ({
  client_id: id,
  client_secret: `${id}-has-a-secret-of-some-length`,
  grant_types: grants,
  redirect_uris: [],
  response_types: [],
  scope: scopes,
  ...more
})

const configuration = (keys) => ({
  clientDefaults: { id_token_signed_response_alg: keys[0].alg },
  jwks: { keys },
  cookies: { keys: ['of-the-tests'] },
  scopes: ['openid', ...scopes.split(' ')],
  clients: [
    client('robot', ['client_credentials']),
    client('nightly', ['client_credentials']),
    client('desktop', ['authorization_code'], {
      redirect_uris: ['http://127.0.0.1:1/callback'],
      response_types: ['code'],
      scope: `openid ${scopes}`
    })
  ],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (_, token) => ({ groups: members[token.accountId ?? token.clientId] }),
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: scopes,
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg: keys[0].alg } }
      })
    }
  }
})

const away = (_, answer) => answer.writeHead(503).end()
let serve = away
const server = createServer((request, answer) => {
  told({ asked: request.url.split('?')[0] })
  serve(request, answer)
})

server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  for await (const line of createInterface({ input: process.stdin })) {
    const keys = JSON.parse(line)
    serve = keys.length ? new Provider(issuer, configuration(keys)).callback() : away
    told({ issuer })
  }
  process.exit(0)
})
