#!/bin/sh
# Makes certificates for tests in folder $1: NAME.pem with NAME.key for each of
#   ca, other-ca          two private CAs
#   good                  for localhost and 127.0.0.1, by ca
#   wrong-name            for other.example, by ca
#   expired, future       as good, but not now
#   self-signed           as good, by itself
#   unknown-ca            as good, by other-ca
#   client, other-client  for clients, by ca and by other-ca
set -eu
cd "$1"
exec 2>openssl.log

new_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

# NAME: a certificate by itself that may sign others
new_ca() {
    new_key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=Test $1" -days 30 -out "$1.pem" \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign'
    mkdir "$1.d"
    : >"$1.d/index.txt"
    cat >"$1.cnf" <<END
[ca]
default_ca = it
[it]
database = $1.d/index.txt
new_certs_dir = $1.d
certificate = $1.pem
private_key = $1.key
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
END
}

# NAME CA ALT-NAMES START END (YYYYMMDDHHMMSSZ, UTC)
new_signed() {
    new_key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -addext "subjectAltName=$3" -out "$1.csr"
    openssl ca -batch -notext -config "$2.cnf" -in "$1.csr" -startdate "$4" -enddate "$5" \
        -out "$1.pem"
}

here=DNS:localhost,IP:127.0.0.1
yesterday=$(date -u -d '-1 day' +%Y%m%d%H%M%SZ)
tomorrow=$(date -u -d '+1 day' +%Y%m%d%H%M%SZ)
next_month=$(date -u -d '+30 days' +%Y%m%d%H%M%SZ)
new_ca ca
new_ca other-ca
new_signed good ca "$here" "$yesterday" "$next_month"
new_signed wrong-name ca DNS:other.example "$yesterday" "$next_month"
new_signed expired ca "$here" 20200101000000Z "$yesterday"
new_signed future ca "$here" "$tomorrow" "$next_month"
new_signed unknown-ca other-ca "$here" "$yesterday" "$next_month"
new_signed client ca DNS:client "$yesterday" "$next_month"
new_signed other-client other-ca DNS:client "$yesterday" "$next_month"
new_key self-signed
openssl req -x509 -new -key self-signed.key -subj /CN=localhost -days 30 -out self-signed.pem \
    -addext "subjectAltName=$here" -addext 'basicConstraints=critical,CA:FALSE'
