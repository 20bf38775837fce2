// An OpenID provider for tests, made of the certified package oidc-provider.
//
// It listens on a free loopback port and prints one line of JSON once it is
// ready: {"issuer": "http://127.0.0.1:PORT"}. Settings come as JSON in the
// environment variable OP_SETTINGS:
//
//   ttl        seconds an access token lives (600)
//   dpopNonce  true: DPoP proofs need a nonce of the server (RFC 9449 §8)
//   tls        {key, cert}: PEM texts; serves https and asks for client certificates
//   clientKey  public JWK: what the client rs-key signs in with
//   clientCert PEM text: the certificate that the client svc-mtls is known by
//   logouts    URL that logouts of the users of svc are told to
//
// Clients (secret: the id with "-secret" added):
//
//   cli       a program on somebody's machine: public, any loopback port
//   svc       a service, client_secret_basic
//   rs        introspects, is answered with signed JWTs (RFC 9701)
//   rs-json   introspects, is answered with JSON (RFC 7662)
//   rs:odd    the same, with an id and a secret that need care (s:cret /+%~)
//   rs-post   the same, its secret in the body
//   rs-key    the same, by private_key_jwt (only with clientKey)
//   svc-dpop  its tokens are bound to a DPoP key
//   svc-mtls  its tokens are bound to its certificate (only with tls and clientCert)
import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'
import { exportJWK, generateKeyPair } from 'jose'
import { errors, Provider } from 'oidc-provider'

const settings = { ttl: 600, dpopNonce: false, ...JSON.parse(process.env.OP_SETTINGS || '{}') }

const server = settings.tls
  ? https.createServer({ ...settings.tls, requestCert: true, rejectUnauthorized: false })
  : http.createServer()
await new Promise((ready) => server.listen(0, '127.0.0.1', ready))
const issuer = `${settings.tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`

// What an access token looks like depends on the resource it is for (RFC 8707).
const signed = (alg) => ({ accessTokenFormat: 'jwt', jwt: { sign: { alg } } })
const resources = {
  'urn:api:jwt': signed('RS256'),
  'urn:api:other': signed('RS256'), // another API of the same provider
  'urn:api:es256': signed('ES256'),
  'urn:api:ps256': signed('PS256'),
  'urn:api:eddsa': signed('EdDSA'),
  'urn:api:hs256': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'HS256', key: randomBytes(32) } } },
  'urn:api:opaque': { accessTokenFormat: 'opaque' },
}
const resource = (name, scope) => ({ scope, audience: name, ...resources[name] })

async function signingKey (alg, options) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, ...options })
  return { ...await exportJWK(privateKey), alg, use: 'sig' }
}

function client (id, more) {
  return {
    client_id: id,
    client_secret: `${id}-secret`,
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1:3000/cb'],
    ...more,
  }
}

function clients () {
  const list = [
    client('cli', {
      client_secret: undefined,
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: ['http://127.0.0.1/callback'],
    }),
    client('svc', settings.logouts && { backchannel_logout_uri: settings.logouts, backchannel_logout_session_required: true }),
    client('rs', { introspection_signed_response_alg: 'RS256' }),
    client('rs-json'),
    client('rs:odd', { client_secret: 's:cret /+%~' }),
    client('rs-post', { token_endpoint_auth_method: 'client_secret_post' }),
    client('svc-dpop', { dpop_bound_access_tokens: true }),
  ]
  if (settings.clientKey) {
    list.push(client('rs-key', {
      client_secret: undefined,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: settings.clientKey.alg,
      jwks: { keys: [settings.clientKey] },
    }))
  }
  if (settings.tls && settings.clientCert) {
    const cert = new X509Certificate(settings.clientCert)
    const key = createPublicKey(settings.clientCert).export({ format: 'jwk' })
    list.push(client('svc-mtls', {
      client_secret: undefined,
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      tls_client_certificate_bound_access_tokens: true,
      jwks: { keys: [{ ...key, x5c: [cert.raw.toString('base64')] }] },
    }))
  }
  return list
}

const provider = new Provider(issuer, {
  jwks: {
    keys: await Promise.all([signingKey('RS256'), signingKey('ES256'), signingKey('PS256'), signingKey('EdDSA', { crv: 'Ed25519' })]),
  },
  clients: clients(),
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none',
    ...(settings.tls ? ['self_signed_tls_client_auth'] : [])],
  scopes: ['openid', 'profile', 'email', 'offline_access', 'api:read', 'api:write'],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  ttl: { AccessToken: settings.ttl, ClientCredentials: settings.ttl },
  findAccount: (ctx, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: 'Alice Doe', preferred_username: sub, email: `${sub}@example.test`, email_verified: true }),
  }),
  // All that it calls is on loopback, which its own dispatcher would refuse.
  fetch: (url, options) => globalThis.fetch(url, { ...options, dispatcher: undefined }),
  extraTokenClaims: (ctx, token) => token.kind === 'AccessToken' ? { groups: ['eng'] } : { tenant: 't1' },
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    jwtIntrospection: { enabled: true },
    jwtUserinfo: { enabled: true },
    revocation: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => settings.dpopNonce },
    mTLS: {
      enabled: Boolean(settings.tls),
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: () => true,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo (ctx, name) {
        if (!resources[name]) throw new errors.InvalidTarget()
        return resource(name, 'api:read api:write')
      },
    },
  },
})

// GET /mint?sub=&client_id=&resource=&scope= gives an access token of a user,
// with a grant behind it as if the user had signed in with a browser.
provider.use(async (ctx, next) => {
  if (ctx.path !== '/mint') return next()
  const { sub = 'alice', client_id: id = 'svc', resource: name, scope = 'openid profile email' } = ctx.query
  const owner = await provider.Client.find(id)
  const grant = new provider.Grant({ accountId: sub, clientId: id })
  grant.addOIDCScope(scope)
  if (name) grant.addResourceScope(name, scope)
  const token = new provider.AccessToken({
    accountId: sub, client: owner, grantId: await grant.save(), scope, gty: 'authorization_code',
  })
  if (name) token.resourceServer = new provider.ResourceServer(name, resource(name, scope))
  ctx.body = { access_token: await token.save(), token_type: 'Bearer' }
})

// GET /log-out?sub=&sid=&client_id= tells the client of a logout, as when the
// user ends the session with a browser; 502 when the client does not say yes.
provider.use(async (ctx, next) => {
  if (ctx.path !== '/log-out') return next()
  const { sub, sid, client_id: id = 'svc' } = ctx.query
  const owner = await provider.Client.find(id)
  try {
    await owner.backchannelLogout(sub, sid)
    ctx.status = 204
  } catch (err) {
    ctx.status = 502
    ctx.body = `${err.message} ${err.cause ?? ""}`
  }
})

server.on('request', provider.callback())
console.log(JSON.stringify({ issuer }))
