{{- define "seedbed.selector" -}}
app.kubernetes.io/name: seedbed-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "seedbed.labels" -}}
{{ include "seedbed.selector" . }}
app.kubernetes.io/part-of: seedbed
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
