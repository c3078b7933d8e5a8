# Fetches one commit into the current directory, which may hold other files.
set -eu

url=${RUNYARD_REPOSITORY_URL:-}
ref=${RUNYARD_GIT_REF:-}
commit=${RUNYARD_GIT_COMMITSHA:-}

fail() {
  echo "clone: $*" >&2
  exit 1
}

[ -n "$url" ] || fail "RUNYARD_REPOSITORY_URL is empty: there is nothing to clone"
command -v git >/dev/null 2>&1 || fail "there is no git in this image: install it or use an image that has it"

# Nobody is there to type a password.
export GIT_TERMINAL_PROMPT=0

# ssh: an own configuration file, so that what the image has in ~/.ssh stays as it is.
case $url in
ssh://* | git+ssh://*) is_ssh=1 ;;
*://* | /* | ./* | ../*) is_ssh= ;;
*:*) is_ssh=1 ;;
*) is_ssh= ;;
esac
if [ -n "$is_ssh" ]; then
  command -v ssh >/dev/null 2>&1 || fail "there is no ssh in this image, which $url needs"
  host=${RUNYARD_GIT_HOST:-}
  port=${RUNYARD_GIT_PORT:-22}
  home=${HOME:-}
  [ -n "$home" ] || fail "HOME is empty: there is no place for the ssh configuration"
  umask_before=$(umask)
  umask 077
  mkdir -p "$home/.ssh"
  config=$home/.ssh/runyard_config
  {
    [ -z "$host" ] || printf 'Host %s\n  Port %s\n' "$host" "$port"
    printf 'Host *\n  BatchMode yes\n'
    if [ -n "${RUNYARD_SSHPRIVKEY:-}" ]; then
      # ssh refuses a key whose last line has no end.
      printf '%s\n' "$RUNYARD_SSHPRIVKEY" >"$home/.ssh/runyard_key"
      printf '  IdentityFile "%s"\n  IdentitiesOnly yes\n' "$home/.ssh/runyard_key"
    fi
    if [ -n "${RUNYARD_SKIPSSHHOSTKEYCHECK:-}" ]; then
      printf '  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n'
    elif [ -n "${RUNYARD_SSHHOSTKEY:-}" ]; then
      # Either a line of known_hosts, or the key alone.
      case $RUNYARD_SSHHOSTKEY in
      ssh-* | ecdsa-* | sk-*)
        if [ "$port" = 22 ]; then name=$host; else name="[$host]:$port"; fi
        printf '%s %s\n' "$name" "$RUNYARD_SSHHOSTKEY" >"$home/.ssh/runyard_known_hosts"
        ;;
      *) printf '%s\n' "$RUNYARD_SSHHOSTKEY" >"$home/.ssh/runyard_known_hosts" ;;
      esac
      printf '  StrictHostKeyChecking yes\n  UserKnownHostsFile "%s"\n' "$home/.ssh/runyard_known_hosts"
    fi
  } >"$config"
  # Later steps may call ssh on their own; they find the key unless the image brought its own configuration.
  [ -e "$home/.ssh/config" ] || printf 'Include "%s"\n' "$config" >"$home/.ssh/config"
  umask "$umask_before"
  quoted=$(printf '%s' "$config" | sed "s/'/'\\\\''/g")
  export GIT_SSH_COMMAND="ssh -F '$quoted'"
fi

# Not `git clone`: that refuses a directory which holds anything.
if [ ! -e .git ]; then
  git init --quiet .
fi
# The working directory may belong to another user than the one who runs this.
git() {
  command git -c safe.directory='*' -c advice.detachedHead=false "$@"
}

# A server that is away for a moment is waited for; what it refuses, it would refuse again. In seconds, over all of the
# script: how long at most, how long so far, and how long next.
patience=${RUNYARD_CLONE_PATIENCE:-60}
waited=0
wait=1

# Whether messages of git, in English, say that the connection was at fault. Refusals come first: git says that the other
# side hung up after them too.
is_away() {
  case $1 in
  *'returned error: 4'* | *'HTTP 4'* | *'remote error:'* | *'Permission denied'* | *'Authentication failed'* | \
    *'Host key verification failed'* | *'could not read Username'* | *'not our ref'* | *"couldn't find remote ref"*)
    return 1
    ;;
  *'Failed to connect'* | *"Couldn't connect"* | *'onnection refused'* | *'onnection reset'* | *'onnection closed'* | \
    *'onnection timed out'* | *'peration timed out'* | *'Timeout was reached'* | *'Empty reply'* | *'Recv failure'* | \
    *'Send failure'* | *'returned error: 5'* | *'HTTP 5'* | *'transfer closed'* | *'early EOF'* | \
    *'unexpected disconnect'* | *'Broken pipe'*)
    return 0
    ;;
  esac
  return 1
}

# Runs a command of git that talks to a server, again while the server is away.
patiently() {
  while :; do
    if messages=$(LC_ALL=C "$@" 2>&1); then
      [ -z "$messages" ] || printf '%s\n' "$messages" >&2
      return 0
    fi
    printf '%s\n' "$messages" >&2
    is_away "$messages" || return 1
    if [ "$waited" -ge "$patience" ]; then
      fail "the server cannot be reached, also after $waited s of trying: giving up"
    fi
    [ "$wait" -le $((patience - waited)) ] || wait=$((patience - waited))
    echo "clone: the server cannot be reached; trying again in $wait s" >&2
    sleep "$wait"
    waited=$((waited + wait))
    wait=$((wait * 2))
    [ "$wait" -le 10 ] || wait=10
  done
}

if git config --get remote.origin.url >/dev/null; then
  git remote set-url origin "$url"
else
  git remote add origin "$url"
fi
if [ -n "$is_ssh" ]; then
  # For `git fetch` and `git push` in later steps.
  git config core.sshCommand "$GIT_SSH_COMMAND"
fi

# Without a depth all of the history comes, with every branch and tag; with one, only what is asked for.
all_heads='+refs/heads/*:refs/remotes/origin/*'
all_tags='+refs/tags/*:refs/tags/*'
if [ -n "$clone_depth" ]; then
  set -- --depth "$clone_depth"
else
  set --
  echo "fetching $url"
  patiently git fetch --quiet origin "$all_heads" "$all_tags"
fi

# By reference first, which every server allows; then, where the commit is not in there any more, by its hash.
has_commit() { git cat-file -e "$commit^{commit}" 2>/dev/null; }
target=
if [ -n "$ref" ]; then
  case $ref in
  refs/heads/*) spec="+$ref:refs/remotes/origin/${ref#refs/heads/}" ;;
  refs/tags/*) spec="+$ref:$ref" ;;
  *) spec=$ref ;;
  esac
  echo "fetching $ref"
  if patiently git fetch --quiet "$@" origin "$spec"; then
    target=$(git rev-parse 'FETCH_HEAD^{commit}')
  elif [ -z "$commit" ]; then
    fail "the reference $ref cannot be fetched"
  fi
fi
if [ -n "$commit" ]; then
  if ! has_commit; then
    echo "fetching the commit $commit"
    patiently git fetch --quiet "$@" origin "$commit" || true
  fi
  if ! has_commit && [ -n "$clone_depth" ]; then
    # A server that gives out references only; the commit may be deeper in their history than the depth.
    echo "fetching the whole history, because the server does not give out single commits"
    if [ -n "$target" ]; then patiently git fetch --quiet --unshallow origin "$spec" || true; fi
    has_commit || patiently git fetch --quiet origin "$all_heads" "$all_tags" || true
  fi
  has_commit || fail "the commit $commit is not in $url any more"
  target=$commit
fi
if [ -z "$target" ]; then
  patiently git fetch --quiet "$@" origin HEAD
  target=$(git rev-parse 'FETCH_HEAD^{commit}')
fi

# By force: files that are in the way are older than the commit.
git checkout --quiet --force --detach "$target"
if [ -n "$clone_submodules" ]; then
  git submodule --quiet sync --recursive
  patiently git submodule --quiet update --init --recursive --force "$@"
fi
git --no-pager log --max-count=1 --format='checked out %H: %s'
