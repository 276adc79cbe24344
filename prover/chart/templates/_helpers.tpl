{{/* Names of everything in the release. */}}
{{- define "joule.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 45 | trimSuffix "-" }}{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 45 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "joule.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "joule.labels" -}}
{{ include "joule.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "joule.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Where provers find the coordinator. */}}
{{- define "joule.address" -}}
{{- if .Values.coordinator.create -}}
/dns4/{{ include "joule.name" . }}-coordinator.{{ .Release.Namespace }}.svc/tcp/9100/p2p/{{ .Values.coordinator.peerId }}
{{- else -}}
/{{ .Values.coordinator.external.address }}/p2p/{{ .Values.coordinator.peerId }}
{{- end -}}
{{- end -}}

{{/* Where KEDA asks. KEDA lives in another namespace, so the name is whole. */}}
{{- define "joule.keda" -}}
{{- if .Values.coordinator.create -}}
{{ include "joule.name" . }}-coordinator.{{ .Release.Namespace }}.svc:9101
{{- else -}}
{{ .Values.coordinator.external.keda }}
{{- end -}}
{{- end -}}

{{/* Nothing here needs rights of any kind. */}}
{{- define "joule.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "joule.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}
