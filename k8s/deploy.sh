#!/usr/bin/env bash
# Deploy VergeOS Gateway to the cluster of the present kubectl context; may be run again at any time.
#
#   k8s/deploy.sh [--dry-run] [--writable] [--ingress traefik|ingress|none] [--keda] [--monitoring] [--skip-check]
#
# Credentials: .env beside this folder, else ~/.vergeos-credentials (VERGEOS_API_KEY, or VERGEOS_USER and VERGEOS_PASS;
# VERGEOS_HOST); what the environment says goes first. It starts read-only unless told --writable.
#   VERGEOS_MCP_NAMESPACE (vergeos-mcp), VERGEOS_MCP_DOMAIN (vergeos-mcp.example.com), VERGEOS_MCP_TLS_SECRET
#   (vergeos-mcp-tls), VERGEOS_MCP_IMAGE (vergeos-gateway of this version), VERGEOS_MCP_REDIS_URL (a Redis of your own;
#   without it one is started here), VERGEOS_MCP_PROMETHEUS (http://prometheus-operated.monitoring:9090, for --keda)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dry_run=false writable=false ingress=traefik check=true
components=()

die() { printf 'deploy.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '== %s\n' "$*" >&2; }

while (($#)); do
    case $1 in
        --dry-run) dry_run=true ;;
        --writable) writable=true ;;
        --skip-check) check=false ;;
        --keda | --monitoring) components+=("${1#--}") ;;
        --ingress) ingress=${2:-}; shift ;;
        -h | --help) sed -n '2,11p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 0 ;;
        *) die "unknown option $1; see --help" ;;
    esac
    shift
done
case $ingress in
    traefik | ingress) components+=("$ingress") ;;
    none) ;;
    *) die "--ingress takes traefik, ingress or none" ;;
esac
command -v kubectl >/dev/null || die "kubectl is not installed"

# Settings: KEY=VALUE lines are read, never run; the environment goes first.
read_settings() {
    local line name value
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $line =~ ^(export[[:space:]]+)?([A-Z][A-Z0-9_]*)=(.*)$ ]] || continue
        name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
        value=${value%$'\r'}
        if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
        [[ -n ${!name:-} ]] || export "$name=$value"
    done <"$1"
}
for file in "$here/../.env" "$HOME/.vergeos-credentials"; do
    if [[ -r $file ]]; then
        say "settings from $file"
        read_settings "$file"
        break
    fi
done
namespace=${VERGEOS_MCP_NAMESPACE:-vergeos-mcp}
domain=${VERGEOS_MCP_DOMAIN:-vergeos-mcp.example.com}
tls_secret=${VERGEOS_MCP_TLS_SECRET:-vergeos-mcp-tls}
image=${VERGEOS_MCP_IMAGE:-}
redis_url=${VERGEOS_MCP_REDIS_URL:-}
prometheus=${VERGEOS_MCP_PROMETHEUS:-http://prometheus-operated.monitoring:9090}
[[ -n ${VERGEOS_HOST:-} ]] || die "VERGEOS_HOST is not set; put it into .env or ~/.vergeos-credentials"
[[ -n ${VERGEOS_API_KEY:-}${VERGEOS_TOKEN:-}${VERGEOS_PASS:-} ]] || die "no credentials; set VERGEOS_API_KEY"
[[ $namespace =~ ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$ ]] || die "VERGEOS_MCP_NAMESPACE is no name of a namespace"
[[ $domain =~ ^[a-zA-Z0-9.-]+$ ]] || die "VERGEOS_MCP_DOMAIN is no host name"

work=$(mktemp -d "$here/.deploy.XXXXXX")
trap 'rm -rf "$work"' EXIT

if $check; then
    gateway=${VERGEOS_GATEWAY:-$here/../.venv/bin/vergeos-gateway}
    command -v "$gateway" >/dev/null || die "$gateway is not there: make .venv/installed, or --skip-check"
    say "VergeOS as it is seen from here"
    found=$(STATE_DIR=$work/state REDIS_URL='' "$gateway" doctor --tools) || die "the check failed: $found"
    sed 's/^/   /; s/; NO WORKER RUNS.*//' <<<"$found" >&2
    if grep -q FAILS <<<"$found"; then die "VergeOS cannot be used like this; mend it, or --skip-check"; fi
fi

# What differs from the base, as an overlay of its own.
secrets=(VERGEOS_API_KEY VERGEOS_TOKEN VERGEOS_USER VERGEOS_PASS)
settings=(VERGEOS_HOST VERGEOS_SITE VERGEOS_VERIFY_SSL VERGEOS_REQUESTS_PER_SECOND VERGEOS_REQUESTS_PER_HOUR
    VERGEOS_MAX_CONCURRENT PROTECTED OWN_VMS NEVER_FORCE MAINTENANCE_WINDOWS WRITE_AS PUBLIC_URL TRUSTED_PROXIES TOOLS
    LOG_LEVEL LOG_READS PLATFORM_METRICS OTEL_EXPORTER_OTLP_ENDPOINT)
port_of() {
    local address=${1#*://}
    if [[ ${address%%/*} =~ :([0-9]+)$ ]]; then echo "${BASH_REMATCH[1]}"; else echo "$2"; fi
}
quoted() { local text=${1//\\/\\\\}; printf '"%s"' "${text//\"/\\\"}"; }
{
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vergeos-mcp-config}\ndata:\n'
    printf '  ALLOWED_HOSTS: %s\n' "$(quoted "$domain,vergeos-mcp")"
    if $writable; then printf '  READ_ONLY: "false"\n'; else printf '  READ_ONLY: "true"\n'; fi
    for name in "${settings[@]}"; do
        if [[ -n ${!name:-} ]]; then printf '  %s: %s\n' "$name" "$(quoted "${!name}")"; fi
    done
    if [[ -n ${VERGEOS_CA_BUNDLE:-} ]]; then printf '  VERGEOS_CA_BUNDLE: /etc/vergeos-gateway/ca.pem\n'; fi
    if [[ -n ${POLICY_FILE:-} ]]; then printf '  POLICY_FILE: /etc/vergeos-gateway/policy.yaml\n'; fi
} >"$work/config.yaml"

# What Redis and the seals are locked with is made once and kept.
kept() {
    local found=''
    if ! $dry_run; then
        found=$(kubectl -n "$namespace" get secret vergeos-mcp-credentials --ignore-not-found \
            -o "jsonpath={.data.$1}" | base64 -d)
    fi
    printf '%s' "${found:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}"
}
redis_password=$(kept REDIS_PASSWORD)
secret_key=$(kept GATEWAY_SECRET_KEY)
(
    umask 077
    {
        for name in "${secrets[@]}"; do
            if [[ -n ${!name:-} ]]; then printf '%s=%s\n' "$name" "${!name}"; fi
        done
        printf 'REDIS_PASSWORD=%s\nGATEWAY_SECRET_KEY=%s\n' "$redis_password" "$secret_key"
        printf 'REDIS_URL=%s\n' "${redis_url:-redis://gateway:$redis_password@vergeos-mcp-redis:6379/0}"
    } >"$work/secret.env"
)
# Pods read settings and secrets when they start: they are replaced when one has changed, and only then. A dry run
# leaves the secrets out, for what locks them is not known to it, and a digest of the rest could be guessed from.
locked=$work/secret.env
if $dry_run; then locked=/dev/null; fi
settled=$(cat "$work/config.yaml" "$locked" | sha256sum | cut -c1-16)

{
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: %s\n' "$namespace"
    printf 'resources: [../base]\ncomponents:\n'
    for name in "${components[@]}"; do printf '  - ../components/%s\n' "$name"; done
    if [[ $image == *@* ]]; then
        printf 'images: [{name: vergeos-gateway, newName: "%s", digest: "%s"}]\n' "${image%@*}" "${image#*@}"
    elif [[ ${image##*/} == *:* ]]; then
        printf 'images: [{name: vergeos-gateway, newName: "%s", newTag: "%s"}]\n' "${image%:*}" "${image##*:}"
    elif [[ -n $image ]]; then
        printf 'images: [{name: vergeos-gateway, newName: "%s"}]\n' "$image"
    fi
    if [[ -n ${VERGEOS_CA_BUNDLE:-}${POLICY_FILE:-} ]]; then
        printf 'configMapGenerator:\n  - name: vergeos-mcp-files\n    files:\n'
        if [[ -n ${VERGEOS_CA_BUNDLE:-} ]]; then
            cp "$VERGEOS_CA_BUNDLE" "$work/ca.pem"
            printf '      - ca.pem\n'
        fi
        if [[ -n ${POLICY_FILE:-} ]]; then
            cp "$POLICY_FILE" "$work/policy.yaml"
            printf '      - policy.yaml\n'
        fi
    fi
    printf 'patches:\n  - path: config.yaml\n'
    for name in vergeos-mcp vergeos-mcp-worker; do
        printf '  - target: {kind: Deployment, name: %s}\n    patch: |-\n' "$name"
        printf '      - op: add\n        path: /spec/template/metadata/annotations\n'
        printf '        value: {vergeos-gateway/settings: "%s"}\n' "$settled"
    done
    case $ingress in
        traefik)
            printf '  - target: {kind: IngressRoute}\n    patch: |-\n'
            # shellcheck disable=SC2016  # the backticks are Traefik's
            printf '      - {op: replace, path: /spec/routes/0/match, value: "Host(`%s`)"}\n' "$domain"
            printf '      - {op: replace, path: /spec/tls/secretName, value: %s}\n' "$tls_secret" ;;
        ingress)
            printf '  - target: {kind: Ingress}\n    patch: |-\n'
            printf '      - {op: replace, path: /spec/rules/0/host, value: %s}\n' "$domain"
            printf '      - {op: replace, path: /spec/tls/0, value: {hosts: [%s], secretName: %s}}\n' \
                "$domain" "$tls_secret" ;;
    esac
    if [[ " ${components[*]} " == *' keda '* ]]; then
        printf '  - target: {kind: ScaledObject}\n    patch: |-\n'
        printf '      - {op: replace, path: /spec/triggers/0/metadata/serverAddress, value: "%s"}\n' "$prometheus"
        printf '      - op: replace\n        path: /spec/triggers/0/metadata/query\n'
        printf '        value: max(vergeos_gateway_queue_lag_seconds{namespace="%s"})\n' "$namespace"
    fi
    usual=443
    if [[ $VERGEOS_HOST == http://* ]]; then usual=80; fi
    outside=("$(port_of "$VERGEOS_HOST" "$usual")")
    if [[ -n $redis_url ]]; then
        outside+=("$(port_of "$redis_url" 6379)")
        for kind in "apps/v1, kind: StatefulSet" "v1, kind: Service" "v1, kind: ServiceAccount"; do
            # shellcheck disable=SC2016  # $patch is kustomize's
            printf '  - patch: "{$patch: delete, apiVersion: %s, metadata: {name: vergeos-mcp-redis}}"\n' "$kind"
        done
    fi
    for port in "${outside[@]}"; do
        if [[ $port != 443 ]]; then
            printf '  - target: {kind: NetworkPolicy, name: vergeos-mcp-ours-to-outside}\n    patch: |-\n'
            printf '      - {op: add, path: /spec/egress/-, value: {ports: [{protocol: TCP, port: %s}]}}\n' "$port"
        fi
    done
} >"$work/kustomization.yaml"
kubectl kustomize "$work" >"$work/all.yaml"

if $dry_run; then
    cat "$work/all.yaml"
    say "dry run: nothing was applied; the Secret would hold $(cut -d= -f1 "$work/secret.env" | tr '\n' ' ')"
    exit 0
fi

say "namespace $namespace, $($writable && echo writable || echo read-only), $domain"
if [[ $ingress != none ]] && ! kubectl -n "$namespace" get secret "$tls_secret" >/dev/null 2>&1; then
    say "WARNING: there is no Secret $tls_secret in $namespace yet; without it callers see a foreign certificate"
fi
kubectl get namespace "$namespace" >/dev/null 2>&1 || kubectl create namespace "$namespace"
kubectl -n "$namespace" create secret generic vergeos-mcp-credentials --from-env-file="$work/secret.env" \
    --dry-run=client -o yaml | kubectl apply -f -
kubectl apply -f "$work/all.yaml"
if [[ -z $redis_url ]]; then kubectl -n "$namespace" rollout status statefulset/vergeos-mcp-redis --timeout=180s; fi
kubectl -n "$namespace" rollout status deployment/vergeos-mcp-worker --timeout=180s
keys() { kubectl -n "$namespace" exec deployment/vergeos-mcp-worker -- vergeos-gateway keys "$@"; }
if [[ -z ${POLICY_FILE:-} ]]; then
    known=$(keys list)
    if [[ ! $known =~ roles\ [^\;]*admin ]]; then
        say "the first key; it is shown this once"
        keys create --name first-admin --owner "${USER:-admin}" --role admin --expires 90d
    fi
fi
kubectl -n "$namespace" rollout status deployment/vergeos-mcp --timeout=180s

cat <<NEXT
== it runs; next:
curl https://$domain/health
curl -X POST https://$domain/message -H 'Authorization: Bearer <key>' -H 'Content-Type: application/json' \\
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
vergeos-gateway client-config claude-code --remote https://$domain
NEXT
