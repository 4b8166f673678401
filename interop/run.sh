#!/usr/bin/env bash
# Other languages' clients against a broker: run.sh [--quick|--full] [--kafka]
# [-- arguments of go test]. --quick (the default) sends part of Go's source
# tree, --full all of it; --kafka tests Apache Kafka instead of Fanfold.
set -euo pipefail
cd "$(dirname "$0")"
export FANFOLD_INTEROP=${FANFOLD_INTEROP:-quick} INTEROP_BROKER=${INTEROP_BROKER:-fanfold}
while [ $# -gt 0 ]; do
  case $1 in
  --quick | --full) FANFOLD_INTEROP=${1#--} ;;
  --kafka) INTEROP_BROKER=kafka ;;
  --) shift && break ;;
  *) echo "usage: run.sh [--quick|--full] [--kafka] [-- arguments of go test]" >&2 && exit 2 ;;
  esac
  shift
done
if [ "$INTEROP_BROKER" = kafka ]; then bash setup.sh --kafka; else bash setup.sh; fi
go test ./broker ./driver ./tree ./clients/...
go test -count=1 -timeout 20m ./groupdiff # it builds Fanfold by itself
# One package by itself prints as it goes.
exec go test -count=1 -v -timeout 40m "$@" .
