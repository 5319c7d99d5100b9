package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"reuseport-bench/bench/internal/netlab"
)

// Paths of the credentials on each host that needs them.
const (
	certificatePath = stateDirectory + "/tls.crt"
	keyPath         = stateDirectory + "/tls.key"
	kubeconfigPath  = stateDirectory + "/kubeconfig"
	tokensPath      = stateDirectory + "/tokens.csv"
)

// credentials are what the parts of one cluster know each other by. There is one certificate, which
// signs itself, and one user.
type credentials struct {
	certificate, key string // PEM
	token            string
	pool             *x509.CertPool
}

func newCredentials() (*credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := netlab.AddressesOfCluster()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "reuseport-bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{
			a.Control.AsSlice(), a.Nodes[0].AsSlice(), a.Nodes[1].AsSlice(), net.IPv4(127, 0, 0, 1),
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &credentials{
		certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:         string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})),
		token:       rand.Text(), pool: x509.NewCertPool(),
	}
	c.pool.AppendCertsFromPEM([]byte(c.certificate))
	return c, nil
}

// tokens is the apiserver's list of users: token, name, uid, groups.
func (c *credentials) tokens() string {
	return c.token + `,reuseport-bench,reuseport-bench,"system:masters"` + "\n"
}

// kubeconfig is the configuration of every client of the API.
func (c *credentials) kubeconfig() string {
	return encode(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "lab",
		"clusters": []object{{"name": "lab", "cluster": object{
			"server":                     "https://" + apiAddress(),
			"certificate-authority-data": []byte(c.certificate),
		}}},
		"users":    []object{{"name": "lab", "user": object{"token": c.token}}},
		"contexts": []object{{"name": "lab", "context": object{"cluster": "lab", "user": "lab"}}},
	})
}

func (c *credentials) tls() *tls.Config { return &tls.Config{RootCAs: c.pool} }

// object is a JSON object.
type object map[string]any

// encode returns a configuration file. JSON is YAML, too.
func encode(o object) string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("encode %v: %v", o, err)) // only for values that JSON does not have
	}
	return string(text)
}
